-- Prices in whole cents, the first half: the new column beside the old one, and both kept equal.
--
-- While this runs and for a moment after, the previous release serves, and it reads and writes `price`. So nothing is
-- removed yet: a trigger copies each write to the other column. The release deployed with this migration reads and
-- writes only `price_cents`. Once it is the oldest release that anybody may roll back to, the next migration removes
-- `price`.

ALTER TABLE products ADD COLUMN price_cents integer;
ALTER TABLE products ALTER COLUMN price DROP NOT NULL;

CREATE FUNCTION products_price() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.price_cents IS NULL OR (TG_OP = 'UPDATE' AND NEW.price IS DISTINCT FROM OLD.price) THEN
        NEW.price_cents := round(NEW.price * 100);
    ELSE
        NEW.price := NEW.price_cents / 100.0;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER products_price BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION products_price();

UPDATE products SET price_cents = round(price * 100); -- a large table: in batches, by a job

-- NOT VALID takes its lock for a moment only; VALIDATE reads the table without blocking writers.
ALTER TABLE products ADD CONSTRAINT products_price_cents_check
    CHECK (price_cents IS NOT NULL AND price_cents >= 0) NOT VALID;
ALTER TABLE products VALIDATE CONSTRAINT products_price_cents_check;
