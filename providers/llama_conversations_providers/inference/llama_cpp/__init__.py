"""A GGUF model, run by llama.cpp in a process that belongs to this one."""
