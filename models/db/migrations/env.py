"""Run by Alembic with the connection that `migrate` opened. Batch mode, because SQLite cannot ALTER."""

from alembic import context

from models.db.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
    transactional_ddl=True,
)
context.run_migrations()
