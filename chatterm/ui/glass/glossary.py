"""The words that the views use, each in a sentence or two that needs no other word of the field."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from chatterm.ui.glass.views import ViewName
from chatterm.ui.widgets.modal import Modal

TERMS = {
    "Language model": "A program that has learned from very much text which piece of text is likely to come next. It answers "
    "by foretelling its own answer, piece by piece.",
    "Generative": "It makes new text, which is written nowhere, instead of looking up text that somebody wrote.",
    "Pre-trained": "Before you meet it, it has read a large part of what people have written, and was corrected each time "
    "that it foretold the next token badly. Later it is fine-tuned to hold conversations.",
    "Transformer": "The kind of network behind almost all language models since 2017: a stack of equal layers, each of which "
    "lets every token look at the tokens before it and then works on each of them alone.",
    "Token": "A piece of text that the model reads and writes as a whole: a word, a part of a word, a comma. To the model "
    "each is only a number, its place in the vocabulary.",
    "Embedding": "The row of numbers that stands for a token. Tokens that are used alike have similar rows. In each layer the "
    "row changes with its neighbours, until it stands for the token in this very place.",
    "Self-attention": "What lets a token gather from the tokens before it what matters for its meaning: each head weighs all "
    "of them and mixes what they hold. The weights add up to 100 %.",
    "Layer": "One step of the stack: attention, then a small network that works on each token. Small models have a few, large "
    "ones about a hundred.",
    "Parameters": "The numbers that were learned: all tables and weights together. Millions in tiny models, billions in those "
    "that you can run at home, perhaps trillions in the largest.",
    "Logit": "The score that the model gives a token before scores are turned into probabilities. One more logit makes a "
    "token 2.7 times as likely.",
    "Probability distribution": "How likely each token of the vocabulary is to come next; all together are 100 %. It is all "
    "that a model says; the rest is drawing lots.",
    "Sampling": "Drawing the next token from the distribution, usually after cutting off what is unlikely: top-k keeps the k "
    "likeliest, top-p those that together reach a share, min-p those that are not too far below the likeliest.",
    "Temperature": "How bold the draw is. Low makes the likeliest token still more likely: predictable. High levels the "
    "chances: creative. Too high lets nearly everything through: incoherent. At 0 nothing is drawn at all.",
    "Entropy": "How undecided the model is, in bits: 0 is sure, 1 is two equal choices, 3 is eight.",
    "Surprise": "How unexpected the token was that came, in bits: 1 is one chance in two, 10 is one in a thousand.",
    "Context window": "All tokens that the model can look back on. The whole history is given to it for every token; when "
    "the window is full, the oldest messages fall out.",
    "KV cache": "What the layers have computed of earlier tokens, kept so that it need not be computed again for each new "
    "one. It is why an answer begins quickly when only a little was added.",
    "Chat template": "The marks that are put around messages, so that the model can tell who speaks. They are part of the "
    "text that it reads.",
    "Logit lens": "Reading the unfinished row of a lower layer as if it were the last: a glimpse of what the model was about "
    "to say. In early layers it often says nothing that makes sense.",
    "Quantization": "Storing the parameters with fewer bits, as a picture is stored with fewer colours. Q4_K_M takes about a "
    "quarter of the size, at a small loss.",
    "Open and commercial models": "Of open models (LLaMA, Mistral, Qwen, Gemma) the parameters can be fetched and run on "
    "your own machine, as here. Commercial ones (GPT, Claude, Gemini, Grok) answer on their makers' servers only, and "
    "nobody outside can look into them.",
}  # fmt: skip
"""Term and explanation, in an order in which they can be read."""

TERM_OF = {
    ViewName.TOKENS: "Token",
    ViewName.NEXT: "Probability distribution",
    ViewName.WINDOW: "Context window",
    ViewName.ATTENTION: "Self-attention",
    ViewName.LAYERS: "Logit lens",
    ViewName.VECTORS: "Embedding",
    ViewName.BRANCHES: "Sampling",
}
"""Which term a view is about first of all."""


class Glossary(Modal[None]):
    """A list of terms, and what the one under the cursor means."""

    DEFAULT_CSS = """
    Glossary {
        align: center middle; background: $background 60%;
        & > Vertical {
            width: 90%; max-width: 84; height: auto; max-height: 92%; padding: 0 1;
            border: round $primary; border-title-color: $text-primary; border-title-style: bold;
            border-subtitle-color: $text-muted; background: $surface;
        }
        & VerticalScroll { height: auto; max-height: 6; padding: 0 1; margin-bottom: 1; }
        & Static { height: auto; }
        & OptionList { height: auto; max-height: 14; background: $surface; scrollbar-size-vertical: 1; }
        & OptionList > .option-list--option { padding: 0 1; }
        & OptionList > .option-list--option-highlighted { background: $primary 22%; color: $foreground; text-style: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close", show=False)]

    def __init__(self, term: str = "Token") -> None:
        """The words.

        Args:
            term: The one that is shown at first.
        """
        super().__init__()
        self._term = term

    def compose(self) -> ComposeResult:
        """The explanation above the list, so that it stays in its place."""
        with Vertical() as box:
            box.border_title = "What the words mean"
            box.border_subtitle = "↑ ↓ · esc"
            with VerticalScroll(can_focus=False):
                yield Static(id="meaning", markup=False)
            yield OptionList(*(Option(term) for term in TERMS), compact=True, markup=False)

    def on_mount(self) -> None:
        """To the term that was asked for."""
        terms = self.query_one(OptionList)
        terms.highlighted = list(TERMS).index(self._term)
        terms.focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say what it means."""
        term, meaning = list(TERMS.items())[event.option_index]
        self.query_one("#meaning", Static).update(Content.assemble((f"{term}. ", "bold $text-accent"), meaning))
