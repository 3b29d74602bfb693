CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    price numeric(12, 2) NOT NULL CHECK (price >= 0),
    stock integer NOT NULL CHECK (stock >= 0),
    picture text
);

INSERT INTO products (name, price, stock, picture) VALUES
    ('Walnut desk', 489.00, 6, 'desk'),
    ('Reading lamp', 79.50, 40, 'lamp'),
    ('Wool blanket', 119.00, 18, 'blanket'),
    ('Enamel mug', 14.50, 250, 'mug'),
    ('Ash chair', 219.00, 12, 'chair'),
    ('Wall clock', 64.00, 9, 'clock'),
    ('Rubber plant', 39.90, 1, 'plant');
