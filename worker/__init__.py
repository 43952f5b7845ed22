"""Supervises jobs, trains, merges and chats. Never imported by the web application."""
