"""High-fidelity Generalized Emotional Talking Face Generation with Multi-modal Emotion Space.

Xu et al., CVPR 2023, called emospace here: one space of emotion for text, picture and sound (AME),
expression coefficients from emotion and sound (EAC), a style-based face (HEF).
"""
