"""Any model server that speaks OpenAI's chat completions over HTTP."""
