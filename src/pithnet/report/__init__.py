"""Pages, tables and figures from what was measured; reads run folders, needs no torch."""

from pithnet.report.page import Page
from pithnet.report.publish import publish
from pithnet.report.tables import write_csv

__all__ = ["Page", "publish", "write_csv"]
