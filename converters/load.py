"""Step `load`: the model from its file, with a static input."""

from el_larq import card
from el_larq.converters.job import Job
from el_larq.models.load import import_modules, load_model, with_static_input


def load(job: Job) -> Job:
    if job.source is None:
        model, model_card = job.need_model(), job.card
    else:
        import_modules(job.options.modules)
        model, model_card = load_model(job.source), card.read(job.source)
    model = with_static_input(model, job.options.image_size)
    summary = f"{model.name}: {len(model.layers)} layers, {model.count_params():,} parameters"
    details = {"name": model.name, "layers": len(model.layers), "parameters": model.count_params()}
    return job.done(summary, details, original=model, model=model, card=model_card)
