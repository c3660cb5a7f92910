"""Models, weight formats, decode-step graphs, GGUF files and real activations.

``load_model`` and ``weight_format`` give the two inputs of ``decode_step``; ``Activations`` gives the PIM's
input bits. docs/models.md explains the data and its sources.
"""
