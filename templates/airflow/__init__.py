"""DAGs for Airflow from a project's description. Runs in Airflow's own environment: nothing here imports headrace's packages."""
