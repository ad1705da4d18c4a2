"""What every report is made of: statistics, plots, HTML pages, tables and bars on a terminal.

It imports nothing of tinsmith's. Each module names what it imports besides.
"""
