"""The DAGs of a project, as data: what ``templates/airflow/factory.py`` makes DAGs of in Airflow's own environment."""
