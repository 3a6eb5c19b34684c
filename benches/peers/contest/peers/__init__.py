"""Who takes part. A peer of a framework in Python lives in a worker process, the others are programs.

| peer | file |
|---|---|
| ours | `programs.py` |
| torch, torch.compile | `pytorch.py` |
| onednn | `programs.py`, `../../onednn.cpp` |
| jax, onnxruntime, tensorflow | `jax.py`, `onnx_runtime.py`, `tensorflow.py` |
| burn, candle, ndarray | `programs.py`, `../../rust/` |
"""

OURS, ROOF = "ours", "roof"

# The module in this folder that speaks for the peer.
WORKERS = {
    "torch": "pytorch",
    "torch.compile": "pytorch",
    "jax": "jax",
    "onnxruntime": "onnx_runtime",
    "tensorflow": "tensorflow",
}
RUST = ("burn", "candle", "ndarray")
PROGRAMS = (OURS, "onednn", *RUST)
ALL = (OURS, "torch", "torch.compile", "onednn", "jax", "onnxruntime", "tensorflow", *RUST)

# Peers whose speed shows in one round, as they are nobody's rivals.
SLOW = RUST
