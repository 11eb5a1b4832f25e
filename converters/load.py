"""Step `load`: the model from its file, with a static input, as a frozen graph."""

from el_larq import card
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job
from el_larq.errors import ElLarqError
from el_larq.models.load import import_modules, load_model, with_static_input


def load(job: Job) -> Job:
    model, model_card = job.loaded, job.card
    if job.source is not None:
        import_modules(job.options.modules)
        model, model_card = load_model(job.source, trust=job.options.trust), card.read(job.source)
    if model is None:
        raise ElLarqError("nothing to convert: give a model or the file of one")
    model = with_static_input(model, job.options.image_size)
    frozen = FrozenModel(model)
    summary = f"{model.name}: {len(model.layers)} layers, {model.count_params():,} parameters"
    details = {"name": model.name, "layers": len(model.layers), "parameters": model.count_params()}
    return job.done(summary, details, loaded=model, original=frozen, model=frozen, card=model_card)
