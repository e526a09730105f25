"""The sections of report.json: figures and tables.

Each section has a module of its name. The others hold parts of one: tables of nodes and
replicas (`groups`, `side_by_side`, `outliers`), of a campaign's runs (`campaign_runs`),
the scaling law (`law`), the health of devices (`health`), and settings (`settings`).
"""
