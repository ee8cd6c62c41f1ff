"""A study that chooses options before it compares: trials on the development split come first."""

from abc import abstractmethod

from focil.studies.study import Job, Study, StudyError


class TunedStudy(Study):
    """A subclass says which `trials` there are, and which `finals` follow from them."""

    @abstractmethod
    def trials(self) -> list[Job]:
        """Trainings on the development split that choose options; none where there is nothing to choose."""

    @abstractmethod
    def finals(self) -> list[Job]:
        """Trainings that count, known once all trials have ended."""

    def jobs(self) -> list[Job]:
        """The trials, and once all have ended also what counts."""
        trials = self.trials()
        if any(self.read(job) is None for job in trials):
            return trials
        return trials + self.finals()

    def run(self) -> None:
        """As `Study.run`. Raises StudyError where a trial would store more images than its split has."""
        trials = self.trials()
        images = len(self.data.development().x_train) if trials else 0
        for job in trials:
            if job.what.exemplars > images:
                raise StudyError(
                    f"{job.what.method} would store {job.what.exemplars} images, but options are chosen on "
                    f"the development split, which has {images} training images; take fewer exemplars"
                )
        super().run()
