"""Our own HTTP, each route authorised: the OpenAI-compatible /v1, /api/v1 beside it, and health."""
