"""Web searches by a service that answers over HTTP in JSON.

config.py     what can be set
  presets.py  how services that are widely used are asked
provider.py   asks, and tells what goes wrong
  answers.py  from JSON to results
"""
