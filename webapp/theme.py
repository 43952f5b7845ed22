"""The one theme: Gradio's own parts take the colours, radius and fonts of `static/tuneroom.css`. No style elsewhere."""

from gradio.themes import Base

# In the page itself, for the first paint: Gradio adds HEAD by script, after its own styles, so that ours decide.
EARLY_HEAD = (
    '<meta name="description" content="Tuneroom: fine-tune language models with your team.">'
    '<link rel="icon" href="/ui/icon.svg" type="image/svg+xml">'
    '<link rel="stylesheet" href="/ui/tuneroom.css"><script src="/ui/theme.js"></script>'
    '<script src="/ui/parts.js"></script><script src="/ui/settle.js"></script>'
)
HEAD = (
    '<link rel="stylesheet" href="/ui/tuneroom.css"><script src="/ui/app.js" defer></script>'
    '<script src="/ui/people.js" defer></script>'
    '<script src="/ui/live.js" defer></script><script src="/ui/upload.js" defer></script>'
    '<script src="/ui/preview.js" defer></script><script src="/ui/edit_row.js" defer></script>'
    '<script src="/ui/columns.js" defer></script><script src="/ui/versions.js" defer></script>'
    '<script src="/ui/chat.js" defer></script>'
    '<script src="/ui/model_text.js" defer></script><script src="/ui/add_row.js" defer></script>'
    '<script src="/ui/playground.js" defer></script>'
)
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def theme() -> Base:
    """Colours are the stylesheet's variables, so that light and dark are decided in one file."""
    return Base(font=list(FONT), font_mono=list(MONO), radius_size="md", text_size="md").set(
        **_both(
            body_background_fill="var(--tr-bg)",
            body_text_color="var(--tr-text)",
            body_text_color_subdued="var(--tr-soft)",
            background_fill_primary="var(--tr-surface)",
            background_fill_secondary="var(--tr-sunken)",
            block_background_fill="var(--tr-surface)",
            block_border_color="var(--tr-line)",
            block_label_background_fill="var(--tr-surface)",
            block_label_text_color="var(--tr-soft)",
            block_title_text_color="var(--tr-text)",
            block_info_text_color="var(--tr-soft)",
            block_shadow="none",
            border_color_primary="var(--tr-line)",
            border_color_accent="var(--tr-accent)",
            color_accent_soft="var(--tr-accent-soft)",
            input_background_fill="var(--tr-surface)",
            input_border_color="var(--tr-line)",
            input_border_color_focus="var(--tr-accent)",
            input_placeholder_color="var(--tr-soft)",
            button_primary_background_fill="var(--tr-accent)",
            button_primary_background_fill_hover="var(--tr-accent-strong)",
            button_primary_text_color="var(--tr-on-accent)",
            button_primary_border_color="var(--tr-accent)",
            button_secondary_background_fill="var(--tr-surface)",
            button_secondary_background_fill_hover="var(--tr-sunken)",
            button_secondary_text_color="var(--tr-text)",
            button_secondary_border_color="var(--tr-line)",
            button_cancel_background_fill="var(--tr-surface)",
            button_cancel_background_fill_hover="var(--tr-bad-soft)",
            button_cancel_text_color="var(--tr-bad)",
            button_cancel_border_color="var(--tr-bad)",
            link_text_color="var(--tr-accent)",
            link_text_color_hover="var(--tr-accent-strong)",
            link_text_color_visited="var(--tr-accent)",
            checkbox_background_color="var(--tr-surface)",
            checkbox_background_color_selected="var(--tr-accent)",
            checkbox_border_color="var(--tr-line)",
            checkbox_border_color_selected="var(--tr-accent)",
            checkbox_label_background_fill="var(--tr-surface)",
            checkbox_label_background_fill_selected="var(--tr-accent-soft)",
            checkbox_label_text_color="var(--tr-text)",
            checkbox_label_text_color_selected="var(--tr-text)",
            checkbox_label_border_color="var(--tr-line)",
            slider_color="var(--tr-accent)",
            panel_background_fill="var(--tr-surface)",
            panel_border_color="var(--tr-line)",
            table_even_background_fill="var(--tr-surface)",
            table_odd_background_fill="var(--tr-surface)",
            table_border_color="var(--tr-line)",
            code_background_fill="var(--tr-sunken)",
            error_background_fill="var(--tr-bad-soft)",
            error_text_color="var(--tr-bad)",
            error_border_color="var(--tr-bad)",
            loader_color="var(--tr-accent)",
        )
    )


def _both(**values: str) -> dict[str, str]:
    """The same variable for light and dark: the stylesheet decides what it means."""
    known = Base().set.__code__.co_varnames
    return {name: value for given, value in values.items() for name in (given, f"{given}_dark") if name in known}
