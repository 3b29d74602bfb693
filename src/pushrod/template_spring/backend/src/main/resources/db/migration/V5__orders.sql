-- Orders, their history, and the outbox of what is to happen; closed days.

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users,
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    status text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'paid', 'packed', 'shipped')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, idempotency_key)
);
CREATE INDEX orders_of_user ON orders (user_id, id);
CREATE INDEX orders_by_time ON orders (created_at);

CREATE TABLE order_items (
    order_id bigint REFERENCES orders ON DELETE CASCADE,
    product_id bigint REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    price_cents integer NOT NULL CHECK (price_cents >= 0),
    PRIMARY KEY (order_id, product_id)
);

CREATE TABLE order_steps (
    order_id bigint REFERENCES orders ON DELETE CASCADE,
    status text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, status)
);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    payload jsonb NOT NULL,
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    error text,
    dead_at timestamptz
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE dead_at IS NULL;

CREATE TABLE daily_sales (
    day date PRIMARY KEY,
    orders integer NOT NULL,
    total_cents bigint NOT NULL
);
