"""Who comes: tokens and certificates of agents, admins and visitors, and what each of them may do.

`tokens` keeps the tokens, `texts` their form, `gate` decides who attaches, `visitors` who visits.
"""

from __future__ import annotations
