"""The customers of a hybrid access gateway in a database: the only package that knows SQLAlchemy and Alembic."""
