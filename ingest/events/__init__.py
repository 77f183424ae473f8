"""The events that leave Mailsluice: their models, their JSON Schema, their ids."""
