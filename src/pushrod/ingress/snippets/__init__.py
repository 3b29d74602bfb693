"""An app's custom nginx lines (snippets): files of the commit that become part of its server.

All apps share one nginx, and a person who may push one app is not root on the host. So a snippet may only affect its
own app's requests and answers: no host file, no other server, no address of its choice, unless the host's owner
allows it (`pushrod apps allow shop nginx`).
"""

from pushrod.ingress.snippets.amounts import Spent
from pushrod.ingress.snippets.directives import ALLOWED, check, memory
from pushrod.ingress.snippets.files import read

__all__ = ["ALLOWED", "Spent", "check", "memory", "read"]
