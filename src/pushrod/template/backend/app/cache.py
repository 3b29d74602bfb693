"""Products in Redis, beside the table: read through, dropped on every write."""

from app.stores import OptionalRedis

# Two releases share the cache while one takes over from the other (and after a rollback):
# give it another version whenever the JSON of a product changes its shape.
VERSION = 1


class ProductCache:
    """The JSON of products by id, each for `seconds` at most.

    That time is also how long a stale product can be seen: when a write meets a read that has just missed, or
    when Redis was away at the moment of the write.
    """

    def __init__(self, redis: OptionalRedis, seconds: int) -> None:
        self._redis = redis
        self._seconds = seconds

    async def get(self, id: int) -> str | None:
        """The JSON of a product, or None."""
        text: str | None = await self._redis.execute("GET", _key(id))
        return text

    async def put(self, id: int, text: str) -> None:
        """Keep the JSON of a product."""
        await self._redis.execute("SET", _key(id), text, "EX", self._seconds)

    async def drop(self, id: int) -> None:
        """Forget a product, because it was written."""
        await self._redis.execute("DEL", _key(id))


def _key(id: int) -> str:
    return f"product:v{VERSION}:{id}"
