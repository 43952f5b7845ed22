"""The ground both processes stand on. Never imports torch, gradio or the ML stack."""
