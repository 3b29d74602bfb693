"""products, and the views of them that the worker records"""

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
        sa.Column("price_cents", sa.Integer, sa.CheckConstraint("price_cents >= 0"), nullable=False),
        sa.Column("stock", sa.Integer, sa.CheckConstraint("stock >= 0"), nullable=False),
    )
    op.create_table(
        "product_views",
        sa.Column("event", sa.Text, primary_key=True),
        sa.Column(
            "product_id", sa.BigInteger, sa.ForeignKey(products.c.id, ondelete="CASCADE"), nullable=False
        ),
        sa.Column("viewed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("product_views_by_product", "product_views", ["product_id", "viewed_at"])
    op.bulk_insert(
        products,
        [
            {"name": "Walnut desk", "price_cents": 48900, "stock": 6},
            {"name": "Reading lamp", "price_cents": 7950, "stock": 40},
            {"name": "Wool blanket", "price_cents": 11900, "stock": 18},
            {"name": "Enamel mug", "price_cents": 1450, "stock": 250},
        ],
    )


def downgrade() -> None:
    op.drop_table("product_views")
    op.drop_table("products")
