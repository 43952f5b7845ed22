"""One user verb a file: takes parts and a principal, asks the store, rings a lane. No gradio, no HTTP, no SQL."""
