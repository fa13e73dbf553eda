"""The page: what `make page` builds of web/, served as files that are kept in memory."""
