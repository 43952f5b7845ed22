"""CSV with a header: comma between the cells, or semicolon where the header has no comma."""

from models.catalog.containers.base import Container
from models.catalog.delimited import fits_table, table_reader

CONTAINER = Container(
    name="csv",
    title="A table (CSV)",
    suffixes=(".csv",),
    fits=fits_table,
    read=table_reader(","),
    is_table=True,
)
