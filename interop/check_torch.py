"""Loads a safetensors file of `batchnorm train` into the same network in PyTorch and compares the logits.

    python interop/check_torch.py runs/X/batch_norm.safetensors IMAGES...
"""

import copy
import sys

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

import comparison
import networks


def main():
    options = comparison.arguments(__doc__.splitlines()[0], ".safetensors")
    try:
        with safe_open(options.model, framework="pt") as file:
            description = comparison.described(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        sys.exit(f"error: expected a safetensors file in {options.model}, found none: {error}")
    network = networks.build(description["architecture"])
    # Strict: every tensor of the network is in the file, and no other.
    network.load_state_dict(load_file(options.model), strict=True)
    network.eval()

    def logits(dtype):
        of_dtype = copy.deepcopy(network).to(dtype)
        with torch.no_grad():
            return lambda x: of_dtype(torch.from_numpy(x).to(dtype)).detach().numpy()

    name = f"PyTorch {torch.__version__.partition('+')[0]}"
    comparison.check(options, description, {name: logits(torch.float32), f"{name}, in f64": logits(torch.float64)})


if __name__ == "__main__":
    main()
