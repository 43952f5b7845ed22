"""TSV with a header: a tab between the cells."""

from models.catalog.containers.base import Container
from models.catalog.delimited import fits_table, table_reader

CONTAINER = Container(
    name="tsv",
    title="A table (TSV)",
    suffixes=(".tsv", ".tab"),
    fits=fits_table,
    read=table_reader("\t"),
    is_table=True,
)
