// Sets data-theme before anything is drawn (a classic script, in the head): 'light' or 'dark', from the user's choice or
// the system's. window.throughlineTheme.next() goes on to the next of auto, light, dark.
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const choices = ['auto', 'light', 'dark'];
  let choice = 'auto';
  try {
    choice = localStorage.getItem('throughline.theme') ?? 'auto';
  } catch {
    // storage may be forbidden
  }
  if (!choices.includes(choice)) choice = 'auto';
  const apply = () => {
    document.documentElement.dataset.theme = choice === 'auto' ? (dark.matches ? 'dark' : 'light') : choice;
    document.dispatchEvent(new Event('theme'));
  };
  dark.addEventListener('change', apply);
  apply();
  window.throughlineTheme = {
    get choice() {
      return choice;
    },
    next() {
      choice = choices[(choices.indexOf(choice) + 1) % choices.length];
      try {
        localStorage.setItem('throughline.theme', choice);
      } catch {
        // it lasts as long as the page
      }
      apply();
      return choice;
    },
  };
})();
