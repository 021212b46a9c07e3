"""The sections of the configuration: in each, every option of one subject, declared once."""
