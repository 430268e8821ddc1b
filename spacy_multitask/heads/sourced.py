"""Teachers for heads that come from another pipeline, which spaCy does not initialise."""

from collections.abc import Callable

from spacy.language import Language
from spacy.util import registry, resolve_dot_names

from ..registering import refuse_quoted_numbers
from .pupil import Pupil


@registry.callbacks("spacy_multitask.teachers.v1")
@refuse_quoted_numbers
def make_teachers(
    teachers: dict[str, str], teacher_weight: float = 1.0
) -> Callable[[Language], None]:
    """Make what gives teachers to heads once the others are initialised: `[initialize] after_init`.

    teachers (Dict[str, str]): As `teacher` in [initialize.components], by the name of the head.
    teacher_weight (float): As there.
    """

    def after_init(nlp: Language) -> None:
        config = nlp.config.interpolate()
        (corpus,) = resolve_dot_names(config, [config["training"]["train_corpus"]])
        for name, source in teachers.items():
            head = nlp.get_pipe(name) if name in nlp.component_names else None
            if not isinstance(head, Pupil):
                raise ValueError(
                    f"[initialize.after_init.teachers] names {name!r}, which is no head of "
                    f"spacy_multitask. There are: {', '.join(_heads(nlp))}."
                )
            teacher = head.find_teacher(source, teacher_weight)
            head.learn_from(teacher, lambda: corpus(nlp), nlp)

    return after_init


def _heads(nlp: Language) -> list[str]:
    return [name for name, pipe in nlp.components if isinstance(pipe, Pupil)]
