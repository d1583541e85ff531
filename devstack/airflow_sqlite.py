"""How long Airflow's processes wait for their SQLite, which one of them writes at a time. Airflow imports it, and has no headrace.

By itself SQLite waits for five seconds. On a busy machine these are over, and the scheduler ends: *database is locked*.
"""

WAIT_S = 60.0
CONNECT_ARGS = {"timeout": WAIT_S}
CONNECT_ARGS_ASYNC = {"timeout": WAIT_S}
