/** The message that is being written, and requests to put the cursor there. */
class Composer {
  text = $state('');
  focusCount = $state(0);

  focus(): void {
    this.focusCount++;
  }
}

export const composer = new Composer();
