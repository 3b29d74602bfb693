"""products"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("price", sa.Numeric(12, 2), sa.CheckConstraint("price >= 0"), nullable=False),
        sa.Column("stock", sa.Integer, sa.CheckConstraint("stock >= 0"), nullable=False),
        sa.Column("picture", sa.Text),
    )
    op.bulk_insert(
        products,
        [
            {"name": "Walnut desk", "price": "489.00", "stock": 6, "picture": "desk"},
            {"name": "Reading lamp", "price": "79.50", "stock": 40, "picture": "lamp"},
            {"name": "Wool blanket", "price": "119.00", "stock": 18, "picture": "blanket"},
            {"name": "Enamel mug", "price": "14.50", "stock": 250, "picture": "mug"},
            {"name": "Ash chair", "price": "219.00", "stock": 12, "picture": "chair"},
            {"name": "Wall clock", "price": "64.00", "stock": 9, "picture": "clock"},
            {"name": "Rubber plant", "price": "39.90", "stock": 1, "picture": "plant"},
        ],
    )


def downgrade() -> None:
    op.drop_table("products")
