"""Container images: built from an exported tree, tagged by rule, pushed with the digest read back, retired by rule.

The commands: `engine.find_docker` → `build.build_image` → `tags.plan_tags` → `push.push`. What the engine and a
registry know is the truth; nothing is kept here. Import the modules: this one stays free of imports.
"""
