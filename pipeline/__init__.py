"""The stories and the wings: plain Python, without Ray, FastAPI, vLLM or MLflow."""
