"""Scale-downs under load: lost results, tasks that ran twice, shuffles that restarted, workers deleted by mistake."""
