def file_text(part):
    return ""
