"""The web application: people and programs ask here. Works through the store and the lanes, never the ML stack."""
