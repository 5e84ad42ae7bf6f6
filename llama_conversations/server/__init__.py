"""The HTTP server: one ASGI app whose routes, parameters and OpenAPI document come from the APIs' protocols."""
