"""A column that goes is told before the merge, if something needs it."""

from typing import Any

from tools.breaking_changes import Removed, removed_columns

CUSTOMERS, ORDERS, EXPOSURE = "model.shop.customers", "model.shop.orders", "exposure.shop.crm"


def node(unique_id: str, *columns: str, after: str = "", contract: bool = False) -> dict[str, Any]:
    """A node of a manifest."""
    kind, _, name = unique_id.split(".")
    return {
        "resource_type": kind,
        "name": name,
        "columns": {column: {} for column in columns},
        "depends_on": {"nodes": [after] if after else []},
        "config": {"contract": {"enforced": contract}},
    }


def manifest(nodes: dict[str, Any], exposures: dict[str, Any] | None = None) -> dict[str, Any]:
    """A manifest of these."""
    return {"nodes": nodes, "exposures": exposures or {}}


CRM = {EXPOSURE: {"name": "crm", "depends_on": {"nodes": [CUSTOMERS]}, "owner": {"name": "Sales"}}}


def test_column_that_an_exposure_reads_is_told() -> None:
    """With the owner, who is the one to ask."""
    before = manifest({CUSTOMERS: node(CUSTOMERS, "id", "Email")}, CRM)
    after = manifest({CUSTOMERS: node(CUSTOMERS, "id")}, CRM)

    assert removed_columns(before, after) == [
        Removed(node="customers", column="Email", needed_by=("exposure crm of Sales",))
    ]


def test_column_of_a_contract_is_told() -> None:
    """The node's own, and a child's that has a column of the name; a child without a contract says nothing."""
    orders = node(ORDERS, "email", after=CUSTOMERS, contract=True)
    lists = node("model.shop.lists", "email", after=CUSTOMERS)
    before = manifest(
        {CUSTOMERS: node(CUSTOMERS, "id", "email", contract=True), ORDERS: orders, "model.shop.lists": lists}
    )
    after = manifest({CUSTOMERS: node(CUSTOMERS, "id", contract=True), ORDERS: orders, "model.shop.lists": lists})

    (removed,) = removed_columns(before, after)
    assert removed.needed_by == ("its own contract", "the contract of orders")


def test_model_that_is_gone_has_lost_its_columns() -> None:
    """An exposure that is no longer of it was of it."""
    before = manifest({CUSTOMERS: node(CUSTOMERS, "id")}, CRM)
    after = manifest({}, {EXPOSURE: {**CRM[EXPOSURE], "depends_on": {"nodes": []}}})

    assert [removed.column for removed in removed_columns(before, after)] == ["id"]


def test_what_nobody_needs_may_go() -> None:
    """Another case of letters, a column that nothing reads, and an exposure that goes with its model are no news."""
    before = manifest({CUSTOMERS: node(CUSTOMERS, "ID", "x"), ORDERS: node(ORDERS, "y")}, CRM)

    assert removed_columns(before, manifest({CUSTOMERS: node(CUSTOMERS, "id", "x")}, CRM)) == []
    assert removed_columns(before, manifest({ORDERS: node(ORDERS, "y")})) == []
