"""Which media type a file has, by the end of its name. Pure.

The types are those of the IANA registry (https://www.iana.org/assignments/media-types); scripts are text/javascript
(RFC 9239).
"""

TYPES = """\
types {
    text/html html htm;
    text/css css;
    text/javascript js mjs;
    text/plain txt;
    text/markdown md;
    text/csv csv;
    text/calendar ics;
    text/vtt vtt;
    application/json json map;
    application/manifest+json webmanifest;
    application/ld+json jsonld;
    application/xml xml;
    application/rss+xml rss;
    application/atom+xml atom;
    application/wasm wasm;
    application/pdf pdf;
    application/zip zip;
    application/gzip gz;
    image/svg+xml svg;
    image/png png;
    image/jpeg jpg jpeg;
    image/gif gif;
    image/webp webp;
    image/avif avif;
    image/vnd.microsoft.icon ico;
    font/woff woff;
    font/woff2 woff2;
    font/ttf ttf;
    font/otf otf;
    audio/mpeg mp3;
    audio/ogg ogg;
    audio/wav wav;
    video/mp4 mp4;
    video/webm webm;
}
"""
