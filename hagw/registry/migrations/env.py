"""Alembic's entry: migrate over the connection that `hagw.registry.database` hands down."""

from alembic import context

from hagw.registry.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
