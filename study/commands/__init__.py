"""Commands on existing studies: confirm, export, reproduce, dashboard, importance."""
