"""Streams over HTTP and WebSocket, durable before they are answered."""

from noria.server.access import Token, read_tokens
from noria.server.limits import Limits
from noria.server.models import Models
from noria.server.run import serve
from noria.server.stores import store_from_url

__all__ = ["Limits", "Models", "Token", "read_tokens", "serve", "store_from_url"]
