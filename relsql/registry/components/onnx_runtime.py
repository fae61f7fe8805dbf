"""onnxruntime without telemetry. All modules import it from here.

onnxruntime 1.32 for Linux records its sessions in a database in the user's cache, for upload over the network. relsql
works offline and reports nothing about the data or the models of its users. The variable is read when the library is
loaded; if the user has set it, it stays as it is.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
