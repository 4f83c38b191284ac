from rsitr.cli import app

app()
