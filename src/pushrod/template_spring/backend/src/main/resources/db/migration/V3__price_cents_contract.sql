-- Prices in whole cents, the second half: nothing reads `price` any more, so it goes.
--
-- In a later release than the previous migration: a rollback to a release that reads `price` is no longer possible.

DROP TRIGGER products_price ON products;
DROP FUNCTION products_price;
ALTER TABLE products ALTER COLUMN price_cents SET NOT NULL; -- known by the constraint: no scan
ALTER TABLE products DROP COLUMN price;
